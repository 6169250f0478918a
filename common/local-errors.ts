/** Errors of a socket that are this node's, and say nothing about the other side. */
export const LOCAL_ERRORS: Readonly<Record<string, string>> = {
  EMFILE: 'this node has no file descriptor left',
  ENFILE: 'this node has no file descriptor left',
  ENOBUFS: 'this node has no network buffer left',
  ENOMEM: 'this node has no memory left',
  EADDRNOTAVAIL: 'this node has no local address or port left',
};
