import { Page } from '../../ui/page.tsx'

export function Stops() {
  return <Page title="Stops">Nothing here yet.</Page>
}
