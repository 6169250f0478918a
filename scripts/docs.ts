#!/usr/bin/env -S node --disable-sigusr1
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keySchema } from '../common/json-schema.ts';
import { reference } from './docs/reference.ts';
import { COMMANDS } from './lbctl/commands.ts';

// Writes docs/reference.md anew; a test fails where it is not what this would write.
writeFileSync(join(import.meta.dirname, '../docs/reference.md'), reference(keySchema(), COMMANDS));
