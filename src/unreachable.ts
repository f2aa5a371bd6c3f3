import { isLoopback } from './loopback.ts'

/** What to try where nothing answers at `url`: only what would run on this machine can be started from here. */
export function whatToTry(url: string): string {
  return isLoopback(new URL(url).hostname)
    ? 'Is it running? Try: npx holdpoint start'
    : 'Check the address, the network to it, and that it runs on the machine there.'
}
