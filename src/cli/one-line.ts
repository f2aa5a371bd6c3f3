/** What others wrote (reasons, names of tools) begins no line of its own, so that it cannot pass for one of ours. */
export function oneLine(text: string): string {
  return text.replace(/[\t\r\n\u2028\u2029]+/g, ' ')
}
