import type { AccessLogConfig } from '../../common/access-log-config.ts';
import { AccessLog, type SendLines } from './access-log.ts';
import { AccessRecord } from './access-record.ts';

/** The access logs that one worker writes, one for each file, however many frontends share it. */
export class AccessLogs {
  readonly #send: SendLines;
  readonly #logs = new Map<string, AccessLog>();

  constructor(send: SendLines) {
    this.#send = send;
  }

  /**
   * The record of a connection, for its next request.
   *
   * @param known the one that it had
   * @param config undefined: nothing is to be logged
   * @param frontend its name
   * @param client its address
   */
  record(
    known: AccessRecord | undefined,
    config: AccessLogConfig | undefined,
    frontend: string,
    client: string,
    http: boolean,
  ): AccessRecord | undefined {
    if (config === undefined || known?.config === config) return config && known;
    let log = this.#logs.get(config.path);
    if (log === undefined) {
      log = new AccessLog(config.path, this.#send);
      this.#logs.set(config.path, log);
    }
    return new AccessRecord(log, config, frontend, client, http);
  }

  /** Hands over what there is. */
  flush(): void {
    for (const log of this.#logs.values()) log.flush();
  }
}
