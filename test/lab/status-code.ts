import type { Lab } from '../../scripts/lab/lab.ts';

/** @returns the status of the answer that the client gets at an address, such as `200`; `000`: there was none within 30 s */
export async function statusCode(lab: Lab, address: string): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address;
  const quiet = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '30'];
  return (await lab.run('client', ['curl', ...quiet, `http://${host}/`])).stdout;
}
