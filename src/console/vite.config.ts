import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The console, as static files that the control plane serves. Each page is given its own nonce when it is served. */
export default defineConfig({
  root: here('.'),
  base: '/console/',
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    outDir: here('../../dist/console'),
    emptyOutDir: true,
    target: 'es2024',
    // The first that know light-dark() by themselves: what stands for it elsewhere follows no switch of Mantine's.
    cssTarget: ['chrome123', 'edge123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    // A small file that became a data: URL would need a hole in the CSP.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800,
    rolldownOptions: {
      input: { index: here('index.html'), stop: here('stop.html') },
      // Libraries mark their files for a kind of server that this console does not have.
      onLog: (level, log, tell) => {
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') tell(level, log)
      },
    },
  },
})
