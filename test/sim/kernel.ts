import type { Machine } from './machine.ts';

/** How often the kernel looks for addresses whose lifetime has run out. */
const SWEEP_MS = 1_000;

export interface Address {
  readonly device: string;
  readonly address: string;
  readonly prefix: number;
  /** On the machine's clock; infinite: for ever. */
  readonly untilMs: number;
}

/** An interface of a machine. */
export interface Device {
  readonly index: number;
  exists: boolean;
  up: boolean;
  carrier: boolean;
}

export interface IpResult {
  readonly out?: string;
  readonly error?: string;
}

const OK: IpResult = {};

/** What a machine's kernel knows: interfaces, addresses with a lifetime, rules, settings. */
export class Kernel {
  readonly #machine: Machine;
  readonly devices = new Map<string, Device>();
  /** By `device address/prefix`. */
  readonly addresses = new Map<string, Address>();
  /** Tables of nftables. */
  readonly tables = new Set<string>();
  readonly settings = new Map<string, string>();
  /** Told when an interface or an address changes, with the line that `ip monitor` prints. */
  readonly monitors = new Set<(line: string) => void>();
  /** Who answers on the network of an interface for an address. @returns the link-layer address; undefined: nobody */
  askNetwork: (address: string, device: string) => string | undefined = () => undefined;
  readonly #neighbours = new Map<string, string>();
  readonly #sweepPhase: number;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#sweepPhase = machine.random() * SWEEP_MS;
    this.devices.set('lo', { index: 1, exists: true, up: true, carrier: true });
    for (const [i, name] of ['eth0', 'eth1'].entries())
      this.devices.set(name, { index: i + 2, exists: true, up: true, carrier: true });
  }

  /** Power was off. */
  reset(): void {
    for (const [key, { untilMs }] of this.addresses)
      if (untilMs !== Number.POSITIVE_INFINITY) this.addresses.delete(key);
    this.tables.clear();
    this.settings.clear();
    this.monitors.clear();
    this.#machine.version++;
  }

  /** Whether an address is on an interface that neighbours reach. */
  answersFor(address: string, device?: string): boolean {
    const { on, paused } = this.#machine;
    if (!on || paused === 'vm') return false;
    for (const held of this.addresses.values())
      if (held.address === address && held.device === (device ?? held.device) && this.#isOut(held.device))
        return true;
    return false;
  }

  #isOut(device: string): boolean {
    return device !== 'lo' && this.works(device);
  }

  /** Whether it is on any interface but `lo`. */
  has(address: string): boolean {
    for (const held of this.addresses.values())
      if (held.address === address && held.device !== 'lo') return true;
    return false;
  }

  parks(address: string): boolean {
    for (const held of this.addresses.values())
      if (held.address === address && held.device === 'lo') return true;
    return false;
  }

  works(device: string): boolean {
    const it = this.devices.get(device);
    return it?.exists === true && it.up && it.carrier;
  }

  setDevice(name: string, change: Partial<Device>): void {
    Object.assign(this.devices.get(name)!, change);
    if (change.exists === false)
      for (const [key, { device, untilMs }] of this.addresses)
        if (device === name && untilMs !== Number.POSITIVE_INFINITY) this.addresses.delete(key);
    this.#machine.version++;
    this.#tell(`${this.devices.get(name)!.index}: ${name}: <BROADCAST>`);
  }

  /** One line for `ip`. */
  run(line: string): IpResult {
    const words = line.trim().split(/\s+/);
    if (words[0] === '-4' || words[0] === '-6') words.shift();
    const [object, verb] = words;
    if (object === 'addr' || object === 'address') {
      if (verb === 'show' && option(words, 'to') !== undefined) return this.#find(option(words, 'to')!);
      if (verb === 'show' || verb === undefined) return this.#show(option(words, 'dev'));
      if (verb === 'replace' || verb === 'add' || verb === 'change') return this.#replace(words);
      if (verb === 'del') return this.#remove(words);
    }
    if (object === 'route' && verb === 'get')
      return { out: `[{"dst":"${words[2]}","dev":"eth0","flags":[],"cache":[]}]` };
    if (object === 'route' && verb === 'show') return { out: '[]' };
    if (object === 'neigh') return this.#neighbour(words);
    if (object === 'route' || object === 'rule') return OK;
    return { error: `Object "${object}" is unknown, try "ip help".` };
  }

  #replace(words: readonly string[]): IpResult {
    const device = option(words, 'dev') ?? '';
    if (!this.devices.get(device)?.exists) return { error: `Cannot find device "${device}"` };
    const [address = '', prefix] = words[2]!.split('/');
    const valid = option(words, 'valid_lft');
    const seconds =
      valid === undefined || valid === 'forever' ? Number.POSITIVE_INFINITY : Number.parseInt(valid, 10);
    const untilMs = this.#machine.now + 1_000 * seconds;
    const key = `${device} ${words[2]}`;
    if (!this.addresses.has(key)) this.#machine.version++;
    this.addresses.set(key, { device, address, prefix: Number(prefix), untilMs });
    this.#tellAddress(device, address, Number(prefix));
    if (seconds !== Number.POSITIVE_INFINITY) this.#sweepAfter(untilMs);
    return OK;
  }

  /** Every interface that has one address; says nothing of the interface itself. */
  #find(wanted: string): IpResult {
    const [address] = wanted.split('/');
    const objects = [...this.addresses.values()]
      .filter((it) => it.address === address && this.devices.get(it.device)?.exists)
      .map(
        (it) =>
          `{"ifname":"${it.device}","addr_info":[{"family":"inet","local":"${it.address}","prefixlen":${it.prefix}}]}`,
      );
    return { out: `[${objects.join(',')}]` };
  }

  /** Somebody else than the agent configures an address for ever. */
  configure(device: string, address: string, prefix: number): void {
    this.addresses.set(`${device} ${address}/${prefix}`, {
      device,
      address,
      prefix,
      untilMs: Number.POSITIVE_INFINITY,
    });
    this.#machine.version++;
    this.#tellAddress(device, address, prefix);
  }

  #tellAddress(device: string, address: string, prefix: number): void {
    const { index } = this.devices.get(device)!;
    this.#tell(`${index}: ${device}    inet ${address}/${prefix} scope global ${device}`);
  }

  #tell(line: string): void {
    for (const tell of this.monitors) tell(line);
  }

  /** `neigh flush to A dev D`, `neigh replace A nud none dev D use` and `neigh show to A dev D`. */
  #neighbour(words: readonly string[]): IpResult {
    const device = option(words, 'dev') ?? '';
    const [, verb, second = ''] = words;
    const address = option(words, 'to') ?? second;
    const key = `${device} ${address}`;
    if (verb === 'flush') this.#neighbours.delete(key);
    else if (verb === 'replace') {
      if (!this.works(device)) return OK;
      const by = this.askNetwork(address, device);
      if (by !== undefined) this.#machine.after('kernel', 0.5, () => this.#neighbours.set(key, by));
    } else if (verb === 'show') {
      const by = this.#neighbours.get(key);
      return {
        out: by === undefined ? '[]' : `[{"dst":"${address}","lladdr":"${by}","state":["REACHABLE"]}]`,
      };
    }
    return OK;
  }

  #remove(words: readonly string[]): IpResult {
    const device = option(words, 'dev') ?? '';
    if (!this.devices.get(device)?.exists) return { error: `Cannot find device "${device}"` };
    if (!this.addresses.delete(`${device} ${words[2]}`)) return { error: 'Error: ipv4: Address not found.' };
    this.#machine.version++;
    return OK;
  }

  #sweepAfter(untilMs: number): void {
    const sweep = Math.ceil((untilMs - this.#sweepPhase) / SWEEP_MS) * SWEEP_MS + this.#sweepPhase;
    const { now } = this.#machine;
    this.#machine.after('kernel', sweep - now, () => {
      for (const [key, address] of this.addresses)
        if (address.untilMs <= this.#machine.now) {
          this.addresses.delete(key);
          this.#machine.version++;
        }
    });
  }

  #show(device: string | undefined): IpResult {
    const objects: string[] = [];
    for (const [name, { exists, index, up, carrier }] of this.devices) {
      if (!exists || (device !== undefined && name !== device)) continue;
      const flags = [...(up ? ['UP'] : []), ...(up && carrier ? ['LOWER_UP'] : ['NO-CARRIER'])];
      const infos: string[] = [];
      for (const it of this.addresses.values())
        if (it.device === name)
          infos.push(`{"family":"inet","local":"${it.address}","prefixlen":${it.prefix},"scope":"global"}`);
      const kind = name === 'lo' ? 'loopback' : 'ether';
      objects.push(
        `{"ifindex":${index},"ifname":"${name}","flags":${JSON.stringify(flags)},"operstate":"${up && carrier ? 'UP' : 'DOWN'}","link_type":"${kind}","address":"${this.mac(index)}","addr_info":[${infos.join(',')}]}`,
      );
    }
    if (device !== undefined && objects.length === 0) return { error: `Device "${device}" does not exist.` };
    return { out: `[${objects.join(',')}]` };
  }

  mac(index: number): string {
    return `02:00:00:00:0${this.#machine.name === 'lb1' ? 1 : 2}:0${index}`;
  }
}

function option(words: readonly string[], name: string): string | undefined {
  const at = words.indexOf(name);
  return at < 0 ? undefined : words[at + 1];
}
