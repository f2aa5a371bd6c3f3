import { Page } from '../../ui/page.tsx'

export function Stop() {
  return <Page title="Stop">Nothing here yet.</Page>
}
