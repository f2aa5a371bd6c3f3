import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import type { z } from 'zod'

import { canonicalJson, digestOf } from '../canonical-json.ts'
import { SignedDrill, type DrillAttestation, type SignedDrillBody } from './wire-drills.ts'

type Attestation = z.infer<typeof DrillAttestation>

/** A new Ed25519 key, both halves in base64url: SPKI, and PKCS #8. */
export function newSigningKey(): { readonly publicKey: string; readonly privateKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64url'),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64url'),
  }
}

/** The attestation names the report by its digest, so one signature covers both. */
export function signAttestation(attestation: Attestation, privateKey: string): string {
  const key = createPrivateKey({ key: Buffer.from(privateKey, 'base64url'), type: 'pkcs8', format: 'der' })
  return sign(undefined, Buffer.from(canonicalJson(attestation)), key).toString('base64url')
}

/** Either the drill as it was signed, or why it is not to be believed, as a sentence. */
export type DrillVerdict =
  | { readonly drill: SignedDrillBody; readonly problem?: undefined }
  | { readonly drill?: undefined; readonly problem: string }

/**
 * Whether a drill is as the authority signed it, by itself and without any network. `given` is parsed JSON, of whatever
 * kind. With `publicKey` (SPKI in base64url, as the org publishes it) it must be signed with that key; without, only
 * with the key that it carries, which anybody could have made.
 */
export function verifyDrill(given: unknown, publicKey?: string): DrillVerdict {
  const parsed = SignedDrill.safeParse(given)
  if (!parsed.success) return { problem: 'This is no signed drill.' }
  const drill = parsed.data
  // What was signed is judged as it came: a member that nobody knows is covered by no signature.
  const { report, attestation } = given as { report: unknown; attestation: unknown }
  if (publicKey !== undefined && publicKey !== drill.publicKey) {
    return { problem: 'It is signed with another key than that of the org.' }
  }
  if (!isSigned(attestation, drill)) return { problem: 'Its signature does not fit: it was altered.' }
  if (drill.attestation.reportSha256 !== digestOf(report)) {
    return { problem: 'Its report is not the one that was signed.' }
  }
  const { drillId, orgId } = drill.report
  if (drill.attestation.drillId !== drillId || drill.attestation.orgId !== orgId) {
    return { problem: 'What was signed is about another drill.' }
  }
  return { drill }
}

function isSigned(attestation: unknown, { signature, publicKey }: SignedDrillBody): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64url'), type: 'spki', format: 'der' })
    if (key.asymmetricKeyType !== 'ed25519') return false
    return verify(
      undefined,
      Buffer.from(canonicalJson(attestation)),
      key,
      Buffer.from(signature, 'base64url'),
    )
  } catch {
    // No key at all.
    return false
  }
}
