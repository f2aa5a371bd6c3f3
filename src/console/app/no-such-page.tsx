import { Empty } from '../ui/answer.tsx'
import { Page } from '../ui/page.tsx'

export function NoSuchPage() {
  return (
    <Page title="No such page">
      <Empty title="There is nothing at this address.">
        It may be of somebody with other rights, or mistyped. Choose a page from the navigation.
      </Empty>
    </Page>
  )
}
