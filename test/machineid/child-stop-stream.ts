// Opens a stream of stops to argv[2], waits until it is up, and with argv[3] `close` closes it. Nothing else keeps it
// alive, and it does not call process.exit.
import { setTimeout as sleep } from 'node:timers/promises'

import { MachineID } from '../../src/machineid/client.ts'

const [baseUrl = '', what] = process.argv.slice(2)
const client = new MachineID({ baseUrl, orgKey: 'org_child_key' })
const stream = client.openStops?.({
  deviceIds: ['openai-agent:prod:tool-server:01'],
  afterEpoch: 1,
  onStop: () => {},
  presence: () => ({
    devices: [{ deviceId: 'openai-agent:prod:tool-server:01', inFlight: 0 }],
    timeoutMs: 2000,
    latencyMs: undefined,
  }),
})
while (stream?.state.up !== true) await sleep(5)
if (what === 'close') await stream.close({ leaving: true })
