import { Page } from '../../ui/page.tsx'

export function Devices() {
  return <Page title="Devices">Nothing here yet.</Page>
}
