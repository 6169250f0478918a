import t from 'tap';
import { resultOfError } from '../../../../lbd/control/health/probe.ts';

t.test('what OpenSSL says is told in its own words alone', async (t) => {
  for (const [message, detail] of [
    [
      'write EPROTO 00F0A5:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/openssl/openssl/ssl/record/methods/tlsany_meth.c:80:\n',
      'the TLS handshake failed: wrong version number',
    ],
    [
      '00F0A5:error:0A000410:SSL routines:ssl3_read_bytes:ssl/tls alert handshake failure:../deps/openssl/rec_layer_s3.c:918:SSL alert number 40\n',
      'the TLS handshake failed: ssl/tls alert handshake failure',
    ],
  ] as const) {
    const error = Object.assign(new Error(message), { code: 'EPROTO' });
    t.match(resultOfError(error), { outcome: 'fail', detail });
  }
});
