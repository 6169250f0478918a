import { asking } from './current.ts';

export * from 'node:os';

/** In place of `os.networkInterfaces`. */
export function networkInterfaces(): Record<string, { family: string; address: string }[]> {
  const { kernel } = asking().machine;
  const found: Record<string, { family: string; address: string }[]> = {};
  for (const { device, address } of kernel.addresses.values()) {
    if (!kernel.devices.get(device)?.exists || !kernel.devices.get(device)?.up) continue;
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    found[device] = [...(found[device] ?? []), { family, address }];
  }
  return found;
}
