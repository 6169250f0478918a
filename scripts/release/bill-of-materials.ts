#!/usr/bin/env -S node --disable-sigusr1
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PATCHED } from '../../common/runtime.ts';
import manifest from '../../package.json' with { type: 'json' };
import { lockedPackages } from './package-hashes.ts';

/**
 * Prints the bill of materials of what is installed on a node: every npm package of production, the Node among them, with the
 * hash of its tarball (CycloneDX 1.5, ECMA-424). `npm sbom` leaves out packages that tools of development need too.
 *
 *     scripts/release/bill-of-materials.ts > tandem.cdx.json
 */
export function billOfMaterials(lock: string) {
  const components = lockedPackages(lock).map(({ path, version, integrity, optional }) => {
    const name = path.split('node_modules/').at(-1)!;
    return {
      type: name.startsWith('node-linux-') ? 'platform' : 'library',
      'bom-ref': path,
      name,
      version,
      scope: optional ? 'optional' : 'required',
      purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
      hashes: [
        { alg: 'SHA-512', content: Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex') },
      ],
    };
  });
  const { name, version } = manifest;
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: { type: 'application', 'bom-ref': name, name, version, purl: `pkg:npm/${name}@${version}` },
      properties: [{ name: 'tandem:runtime:released', value: PATCHED.released }],
    },
    components,
  };
}

if (import.meta.main) {
  const lock = readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8');
  console.log(JSON.stringify(billOfMaterials(lock), null, 2));
}
