import { Alert, List, Stack, Text } from '@mantine/core'

import type { Output } from '../../api/routes.ts'
import { useCall } from '../../api/use-call.ts'
import { Copyable } from '../../ui/copyable.tsx'
import { count } from '../../ui/count.ts'
import { Fact, Facts } from '../../ui/facts.tsx'
import { TextBox } from '../../ui/text-box.tsx'
import { Untrusted } from '../../ui/untrusted.tsx'
import { absoluteTime } from '../../ui/when.tsx'

/** Who signed it, what the audit says to it, and how somebody who trusts nobody here verifies it. */
export function Proof({ signed }: { readonly signed: Output<'drill'>['drill'] }) {
  const { report, attestation, signature, publicKey } = signed
  const org = useCall('signingKey', {})
  const missing = attestation.audit.filter(({ row }) => row === null).map(({ epoch }) => epoch)
  const isOther = org.data !== undefined && org.data.publicKey !== publicKey
  return (
    <Stack gap="sm">
      {isOther && (
        <Alert color="red" variant="outline" title="■ It is signed with another key than that of the org">
          <Text size="sm">Do not rely on it.</Text>
        </Alert>
      )}
      {missing.length > 0 && (
        <Alert color="red" variant="outline" title={`■ The audit has no row of epoch ${missing.join(', ')}`}>
          <Text size="sm">So that did not happen as told.</Text>
        </Alert>
      )}
      <Facts cols={{ base: 1, md: 2 }}>
        <Fact name="Signed">
          {absoluteTime(attestation.storedAt)}, brought by <Untrusted text={attestation.storedBy} mono />
        </Fact>
        <Fact name="Borne out by the audit">
          {attestation.audit.length - missing.length} of {count(attestation.audit.length, 'change')}
        </Fact>
        <Fact name="SHA-256 of the report, as canonical JSON">
          <Untrusted text={attestation.reportSha256} mono />
        </Fact>
        <Fact name="Head of the audit when it was signed">
          {attestation.auditHead === null ? (
            'none'
          ) : (
            <Untrusted text={`${attestation.auditHead.seq}:${attestation.auditHead.hash}`} mono />
          )}
        </Fact>
        <Fact
          name={
            org.data !== undefined && !isOther
              ? "Public key (Ed25519, SPKI): the org's"
              : 'Public key (Ed25519, SPKI)'
          }
        >
          <Copyable text={publicKey} what="the public key" />
        </Fact>
        <Fact name="Signature">
          <Untrusted text={signature} mono />
        </Fact>
      </Facts>
      <List type="ordered" size="sm" spacing={4} maw={820}>
        <List.Item>Download the signed report.</List.Item>
        <List.Item>
          Take the org&apos;s public key from where it was noted before, not from this page: whoever could
          alter the report could alter the page.
        </List.Item>
        <List.Item>Verify it, without any network:</List.Item>
      </List>
      <TextBox
        label="The command that verifies the report"
        text={`npx holdpoint drill verify drill-${report.drillId}.json --key ${publicKey}`}
      />
      <Text size="sm">
        What no signature says: that the tool servers told the truth about their own calls.
      </Text>
    </Stack>
  )
}
