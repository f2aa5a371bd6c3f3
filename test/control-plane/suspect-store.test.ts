import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'

import { HoldpointError } from '../../src/errors.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'
import { dump } from './dump.ts'

test('a change that was under way when the store became suspect is not made, and not acknowledged (G5)', async () => {
  await using authority = await startTestControlPlane()
  await authority.register('a:test:worker:01')
  const before = dump(authority.file)
  const body = JSON.stringify({ deviceId: 'a:test:worker:01' })
  const { port } = new URL(authority.operatorUrl)
  const socket = connect(Number(port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(
    `POST ${PATHS.remove} HTTP/1.1\r\nhost: localhost\r\nx-org-key: ${authority.keys.operator}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`,
  )
  // The headers are there once another request on the same thread has been answered after them.
  await fetch(`${authority.operatorUrl}${PATHS.usage}`, { headers: { 'x-org-key': authority.keys.viewer } })
  authority.controlPlane.suspect(new HoldpointError('STORE_IO', 'The disk reported an error.'))
  socket.write(body)
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  await once(socket, 'close')
  expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 503 [\s\S]*"code":"STORE_UNAVAILABLE"/)
  const after = dump(authority.file)
  expect(after['devices']).toEqual(before['devices'])
  expect(after['audit']).toEqual(before['audit'])
})
