import { describe, expect, test } from 'vitest'

import { OrgCreateResponse } from '../../src/machineid/wire-orgs.ts'
import { PATHS } from '../../src/machineid/paths.ts'
import { startTestControlPlane } from '../fixtures/control-plane.ts'

describe('creating an org', () => {
  const EVIL = { authorization: 'Bearer wrong' }

  test('is open on loopback while no platform token is set, and answers as MachineID does', async () => {
    await using authority = await startTestControlPlane()
    const { status, body } = await authority.post(PATHS.orgCreate, {})
    expect(status).toBe(200)
    expect(OrgCreateResponse.parse(body)).toMatchObject({ status: 'ok', handler: 'org_create' })
    expect(body.orgApiKey).toMatch(/^org_full_/)
    expect(body.orgId).toMatch(/^o_/)
    expect(body).not.toHaveProperty('keys')
    expect((await authority.get(PATHS.usage, body.orgApiKey)).body).toMatchObject({
      planTier: 'free',
      limit: 3,
    })
  })

  test('gives a key of each kind that is asked for', async () => {
    await using authority = await startTestControlPlane()
    const { body } = await authority.post(PATHS.orgCreate, {
      email: 'a@example.com',
      kinds: ['runtime', 'stop'],
    })
    expect(Object.keys(OrgCreateResponse.parse(body).keys ?? {})).toEqual(['runtime', 'stop'])
    expect((await authority.get(PATHS.usage, body.keys.stop)).body.orgId).toBe(body.orgId)
    expect((await authority.get(PATHS.usage, body.keys.runtime)).status).toBe(403)
  })

  test('takes the platform token once there is one', async () => {
    await using authority = await startTestControlPlane({ platformToken: 'right' })
    for (const headers of [{}, EVIL, { authorization: 'right' }]) {
      const { status, body } = await authority.post(PATHS.orgCreate, {}, undefined, headers)
      expect({ status, code: body.code }).toEqual({ status: 401, code: 'PLATFORM_TOKEN_INVALID' })
    }
    expect(
      (await authority.post(PATHS.orgCreate, {}, undefined, { authorization: 'Bearer right' })).status,
    ).toBe(200)
  })

  test('is not open to web pages, which can post to loopback from any browser here', async () => {
    await using authority = await startTestControlPlane()
    for (const origin of ['https://evil.example', 'null', authority.url]) {
      const { status, body } = await authority.post(PATHS.orgCreate, undefined, undefined, { origin })
      expect({ status, code: body.code }).toEqual({ status: 403, code: 'ORIGIN_NOT_ALLOWED' })
    }
    expect((await authority.post(PATHS.orgCreate, undefined)).status).toBe(200)
    expect(await authority.service.countOrgs()).toBe(2)
  })

  test('is closed off loopback while no platform token is set', async () => {
    await using authority = await startTestControlPlane({ loopback: false })
    const { status, body } = await authority.post(PATHS.orgCreate, {})
    expect({ status, code: body.code }).toEqual({ status: 403, code: 'PLATFORM_TOKEN_NOT_CONFIGURED' })
  })
})
