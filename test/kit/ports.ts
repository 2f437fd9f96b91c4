import { createServer } from 'node:net';

/** A TCP port that was free a moment ago. Whoever takes it must cope with losing it to another process. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port);
        else reject(new Error(`No port was given for ${host}`));
      });
    });
  });
}
