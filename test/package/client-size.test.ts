import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'
import { expect, test } from 'vitest'

import { PROJECT } from '../docs/markdown.ts'

test('holdpoint/client is as small as docs/releasing.md says: by itself, and with what it depends on', async () => {
  const page = readFileSync(join(PROJECT, 'docs/releasing.md'), 'utf8')
  const [own = 0, whole = 0] =
    /less than (\d+) kB, and less than (\d+) kB with/.exec(page)?.slice(1).map(Number) ?? []
  expect(await gzippedBytes({ alone: true })).toBeLessThan(own * 1000)
  expect(await gzippedBytes({ alone: false })).toBeLessThan(whole * 1000)
}, 60_000)

/** One file for Node: `alone`, with its dependencies left out, or with them in it. */
async function gzippedBytes({ alone }: { readonly alone: boolean }): Promise<number> {
  const outsideOf = (id: string) => !id.startsWith('.') && !id.startsWith('/')
  const built = (await build({
    configFile: false,
    root: PROJECT,
    logLevel: 'silent',
    ssr: { noExternal: alone ? [] : true },
    build: {
      ssr: 'src/client.ts',
      write: false,
      minify: true,
      target: 'node22',
      rolldownOptions: {
        ...(alone && { external: outsideOf }),
        output: { codeSplitting: false },
      },
    },
  })) as Rolldown.RolldownOutput
  expect(built.output).toHaveLength(1)
  // Nothing but Node is left outside of the whole.
  const outside = built.output[0].imports.filter((name) => !name.startsWith('node:'))
  expect(outside.sort()).toEqual(alone ? ['eventsource-parser', 'undici', 'zod'] : [])
  return gzipSync(built.output[0].code).length
}
