import { CAPABILITY, hasCapability } from '../../common/capabilities.ts';
import { DIRECT, type FlowKernel } from '../flow/flow-kernel.ts';
import { HelperClient } from './helper/client.ts';
import { remoteFlows } from './helper/remote-flows.ts';
import { RemoteHost } from './helper/remote-host.ts';
import type { KernelHost, KernelHostEvents } from './kernel-host.ts';
import { LocalHost } from './local-host.ts';

/** How this lbd has the kernel of its host changed. */
export interface KernelAccess {
  host(events: KernelHostEvents): KernelHost;
  readonly flows: FlowKernel;
}

/**
 * An lbd that may change the kernel does so by itself, as in a lab or started by hand as root; the service asks its helper.
 *
 * @param helper path of the helper's socket
 */
export function kernelAccess(helper: string): KernelAccess {
  if (hasCapability(CAPABILITY.netAdmin)) return { host: (events) => new LocalHost(events), flows: DIRECT };
  const client = new HelperClient(helper);
  return { host: (events) => new RemoteHost(client, events), flows: remoteFlows(client) };
}
