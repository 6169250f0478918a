import { parseCidr } from '../../common/address.ts';
import type { GroupConfig, VipConfig } from '../../common/model.ts';

/** A VIP as a config without options has it. */
export function vip(cidr: string, device = 'eth1', more: Partial<VipConfig> = {}): VipConfig {
  return {
    ...parseCidr(cidr)!,
    interface: device,
    prefixRoute: true,
    provider: 'interface',
    command: [],
    ...more,
  };
}

/** A VIP group for lb1 and lb2. */
export function group(
  name: string,
  vips: readonly VipConfig[],
  more: Partial<GroupConfig> = {},
): GroupConfig {
  return {
    name,
    vips,
    routes: [],
    priority: { lb1: 150, lb2: 100 },
    preemptDelayMs: undefined,
    ...more,
  };
}
