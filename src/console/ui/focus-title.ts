/** Where the focus goes when a dialog closes and the button that opened it is gone. */
export function focusTitle(): void {
  document.querySelector<HTMLElement>('.page-title')?.focus()
}
