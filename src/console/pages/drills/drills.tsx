import { Page } from '../../ui/page.tsx'

export function Drills() {
  return <Page title="Drills">Nothing here yet.</Page>
}
