import { Field, FieldBlock, FieldName } from './field-names.ts';

const DATE = new FieldName('Date');

let second = -1;
let block = new FieldBlock();

/** `Date` of an answer, as IMF-fixdate (RFC 9110 §5.6.7). Made once a second. */
export function dateBlock(): FieldBlock {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    block = new FieldBlock(new Field(DATE, new Date(now * 1000).toUTCString()));
  }
  return block;
}
