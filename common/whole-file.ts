import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes a file that others than its owner cannot read. It is never half written, and what is written outlives a loss of
 * power. Its directory is made when it is needed.
 *
 * @param text empty: there is no file afterwards
 * @throws what the file system says
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  const directory = dirname(path);
  if (text === '') {
    await rm(path, { force: true });
    return;
  }
  await mkdir(directory, { recursive: true, mode: 0o750 });
  const next = `${path}.new`;
  try {
    const file = await open(next, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    // A disk that is full needs the room.
    await rm(next, { force: true }).catch(() => {});
    throw error;
  }
  const folder = await open(directory, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
