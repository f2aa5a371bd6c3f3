import { describe, expect, test } from 'vitest'

import { PATHS } from '../../../src/machineid/paths.ts'
import { noPostgres, startPostgres } from '../../fixtures/postgres.ts'
import { startNodes } from './nodes-world.ts'

describe.skipIf(noPostgres)('a node that cannot ask its store', () => {
  test(
    'says so at /readyz of both ports, so that a balancer asks another one, until it can again',
    { timeout: 60_000 },
    async () => {
      const server = await startPostgres()
      try {
        const { of } = await startNodes(server, ['a'], { threads: true })
        const { url, operatorUrl, controlPlane } = of.a
        const ask = (path: string) =>
          Promise.all([url, operatorUrl].map(async (origin) => (await fetch(`${origin}${path}`)).status))
        await controlPlane.nodes.beat()
        expect(await ask(PATHS.readyz)).toEqual([200, 200])

        server.kill()
        await controlPlane.nodes.beat()
        expect(await ask(PATHS.readyz)).toEqual([503, 503])
        // It lives: whoever restarts what does not would restart it for nothing.
        expect(await ask(PATHS.healthz)).toEqual([200, 200])

        await server.start()
        await expect.poll(() => controlPlane.nodes.beat().then(() => ask(PATHS.readyz))).toEqual([200, 200])
      } finally {
        await server.close()
      }
    },
  )
})
