import { RequestHead } from '../h1/request-head.ts';
import { MAX_FIELDS } from '../h1/scratch.ts';
import { RequestBuilder } from './request-builder.ts';
import { ResponseBuilder } from './response-builder.ts';

/** A head that has come by HTTP/2. */
class Http2RequestHead extends RequestHead {
  override get protocol(): string {
    return 'HTTP/2.0';
  }
}

/** Of this thread: a head is read and used within one callback. */
export const builder = new RequestBuilder();
export const requestScratch = new Http2RequestHead(MAX_FIELDS);
export const responseBuilder = new ResponseBuilder();
