import { RequestHead } from './request-head.ts';
import { ResponseHead } from './response-head.ts';

/** Field lines that any head may have, whatever the config allows: the size of the scratch. */
export const MAX_FIELDS = 1000;

/** Of this thread: a head is parsed and used within one read callback. */
export const requestScratch = new RequestHead(MAX_FIELDS);
export const responseScratch = new ResponseHead(MAX_FIELDS);
