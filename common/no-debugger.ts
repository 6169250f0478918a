/**
 * Imported before all else by each daemon. Node opens a port for its debugger on SIGUSR1, through which every user of
 * this machine could run code in the process, unless somebody listens for the signal; and log rotation sends it, maybe
 * while lbd still starts. `--disable-sigusr1`, by which all that starts us starts Node, covers the time before this line.
 */
process.on('SIGUSR1', () => {});
