import { createServer } from 'node:http'

// What a validate costs at the least: node:http that reads a JSON body and answers one.
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const { deviceIds, nonce } = JSON.parse(Buffer.concat(chunks).toString()) as {
      deviceIds: string[]
      nonce: string
    }
    const decisions = deviceIds.map((deviceId) => ({ deviceId, allowed: true, code: 'ALLOW', epoch: 1 }))
    const text = JSON.stringify({ orgId: 'o_bare', orgEpoch: 1, nonce, request_id: 'bare', decisions })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}` })
})
process.on('disconnect', () => process.exit())
