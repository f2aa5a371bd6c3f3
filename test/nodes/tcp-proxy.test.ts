import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'

import { startTcpProxy, type Network } from './tcp-proxy.ts'

/** A server that answers with what it heard, through the proxy. */
async function world() {
  const heard: string[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      heard.push(chunk.toString())
      socket.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const proxy = await startTcpProxy((server.address() as AddressInfo).port)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  const answers: string[] = []
  const client = connect({ port: proxy.port, host: '127.0.0.1' })
  const error = new Promise<string>((resolve) =>
    client.on('error', ({ code }: NodeJS.ErrnoException) => resolve(String(code))),
  )
  client.on('data', (chunk) => answers.push(chunk.toString()))
  client.write('first')
  await expect.poll(() => answers).toEqual(['first'])
  /** Longer than anything takes that passes the proxy. */
  const aWhile = async () => {
    const beside = connect((server.address() as AddressInfo).port, '127.0.0.1')
    for (let turn = 0; turn < 5; turn++) {
      beside.write('beside')
      await once(beside, 'data')
    }
    beside.destroy()
    return heard.filter((text) => text !== 'beside')
  }
  return { proxy, client, answers, error, aWhile }
}

test.each<[Network, string[]]>([
  ['held', ['first']],
  ['mute', ['first']],
  ['deaf', ['first', 'second']],
])(
  'a network that is %s holds what it should, and brings it once it is mended',
  async (network, heardMeanwhile) => {
    const { proxy, client, answers, aWhile } = await world()
    proxy.set(network)
    client.write('second')
    expect(await aWhile()).toEqual(heardMeanwhile)
    expect(answers).toEqual(['first'])
    proxy.set('fine')
    await expect.poll(() => answers).toEqual(['first', 'second'])
    client.destroy()
  },
)

test('what is held arrives late, also from a sender that has given up', async () => {
  const { proxy, client, aWhile } = await world()
  proxy.set('held')
  client.end('second')
  client.destroySoon()
  await once(client, 'close')
  proxy.set('fine')
  await expect.poll(aWhile).toEqual(['first', 'second'])
})

test('a network that resets ends what is open, with an error, and what is opened', async () => {
  const { proxy, error } = await world()
  proxy.set('reset')
  expect(await error).toBe('ECONNRESET')
  const again = connect({ port: proxy.port, host: '127.0.0.1' })
  await expect(once(again, 'close')).rejects.toMatchObject({ code: 'ECONNRESET' })
})
