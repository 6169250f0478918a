import t from 'tap';
import { announcement, FRAME_BYTES } from '../../ha-agent/announcement.ts';

const MAC = Buffer.from('0a24175300ec', 'hex');
const PAD = '00'.repeat(FRAME_BYTES - 42);

t.test('IPv4: what arping -U sends (RFC 826, RFC 5944 section 4.6), padded', async (t) => {
  const frame = announcement(MAC, '10.9.9.100').toString('hex');
  t.equal(
    frame,
    'ffffffffffff0a24175300ec0806' + // Ethernet
      '0001080006040001' + // Ethernet, IPv4, lengths, request
      '0a24175300ec0a090964' + // sender
      `ffffffffffff0a090964${PAD}`, // target
  );
});

t.test('IPv6: an unsolicited neighbour advertisement (RFC 4861 sections 4.4 and 7.2.6)', async (t) => {
  const frame = announcement(MAC, 'fd00::100');
  t.equal(frame.length, FRAME_BYTES);
  const target = 'fd000000000000000000000000000100';
  t.equal(
    frame.toString('hex').replace(/^(.{112}).{4}/, '$1----'),
    '3333000000010a24175300ec86dd' + // Ethernet, to all nodes
      `6000000000203aff${target}ff020000000000000000000000000001` +
      `8800----20000000${target}` + // override, not solicited, not a router
      '02010a24175300ec',
  );
  // Summed over the pseudo-header and the whole message, a right checksum gives all ones (RFC 1071 section 1).
  let sum = 32 + 58;
  for (let at = 22; at < FRAME_BYTES; at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  t.equal(sum, 0xffff);
});
