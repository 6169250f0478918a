import type { FieldEdits } from '../edits.ts';
import type { Message } from '../message.ts';

/** The fields that were added, a line each. */
export function writeAdded(out: Message, edits: FieldEdits): void {
  for (let at = 0; at < edits.count; at++) {
    const line = edits.line(at);
    if (line === undefined) {
      const { name, value } = edits.field(at);
      out.text(name.prefix);
      out.text(value);
      out.line();
    } else if (line.length > 0) out.copy(line, 0, line.length);
  }
}
