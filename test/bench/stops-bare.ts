// What telling many connections costs at the least: a plain node:http server that, when asked, writes one event to each.
import { createServer, type ServerResponse } from 'node:http'

const streams = new Set<ServerResponse>()
const EVENT = `id: 7\nevent: stop\ndata: ${JSON.stringify({
  type: 'stop',
  epoch: 7,
  deviceIds: ['openai-agent:bench:payments:01'],
  action: 'device.revoke',
})}\n\n`

const server = createServer((request, response) => {
  if (request.method === 'POST') {
    response.end('{}')
    for (const stream of streams) stream.write(EVENT)
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(': open\n\n')
  streams.add(response)
  response.on('close', () => streams.delete(response))
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}` })
})
process.on('disconnect', () => process.exit())
