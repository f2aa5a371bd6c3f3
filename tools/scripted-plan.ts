/** One call of a tool. */
export interface Action {
  readonly tool: string
  readonly args: Record<string, unknown>
}

export interface Plan {
  /** Every call that is known to be needed so far, made or not. */
  readonly actions: readonly Action[]
  /** One line for each thing that was asked for, from what the tools gave. */
  readonly report: readonly string[]
}

/** What a tool gave for a call; undefined until it has. */
export type OutputOf = (action: Action) => string | undefined

type Step = (outputOf: OutputOf) => Plan

/**
 * Reads the few sentences that the scripted model knows, one after the other: the next begins when the one before has its
 * outputs. Amounts are never guessed: an invoice is looked up first.
 */
export function planOf(text: string, outputOf: OutputOf): Plan {
  const actions: Action[] = []
  const report: string[] = []
  for (const sentence of text.split(BETWEEN)) {
    const plans = stepsOf(sentence.trim()).map((step) => step(outputOf))
    const due = plans.flatMap((plan) => plan.actions)
    actions.push(...due)
    report.push(...plans.flatMap((plan) => plan.report))
    if (due.some((action) => outputOf(action) === undefined)) break
  }
  return { actions, report }
}

const BETWEEN = /[\n;]+|,?\s+(?:and|then|and then)\s+(?=(?:pay|e?mail|write|look)\b)/i
const INVOICES = /\bINV-\d+\b/gi

function stepsOf(sentence: string): readonly Step[] {
  const mail = /^(?:please\s+)?e?mail\s+(\S+@[^\s:]+):?\s+(.+)$/is.exec(sentence)
  if (mail !== null) return [send(mail[1] ?? '', mail[2] ?? '')]
  const record = /^(?:please\s+)?write\s+(\S+)\s*=\s*(.+)$/is.exec(sentence)
  if (record !== null) return [write(record[1] ?? '', record[2] ?? '')]
  const invoiceIds = [...new Set(sentence.match(INVOICES) ?? [])].map((id) => id.toUpperCase())
  return invoiceIds.map(/\bpay\b/i.test(sentence) ? pay : lookUp)
}

const lookup = (invoiceId: string): Action => ({ tool: 'lookup_invoice', args: { invoiceId } })

function lookUp(invoiceId: string): Step {
  return (outputOf) => {
    const action = lookup(invoiceId)
    return { actions: [action], report: [`${invoiceId}: ${outputOf(action) ?? ''}`] }
  }
}

function pay(invoiceId: string): Step {
  return (outputOf) => {
    const first = lookup(invoiceId)
    const found = jsonOf(outputOf(first))
    const { amountCents, status } = found ?? {}
    if (typeof amountCents !== 'number' || status !== 'open') {
      const why = status === 'paid' ? 'It has been paid already.' : whyNot(outputOf(first))
      return { actions: [first], report: [`${invoiceId}: not paid now. ${why}`] }
    }
    const payment = { tool: 'send_payment', args: { invoiceId, amountCents } }
    const what = `${invoiceId}: paid, ${(amountCents / 100).toFixed(2)} dollars.`
    return { actions: [first, payment], report: [said(outputOf(payment), what, `${invoiceId}: not paid.`)] }
  }
}

function send(to: string, text: string): Step {
  return (outputOf) => {
    const subject = text.split('\n')[0]?.slice(0, 60) ?? ''
    const action = { tool: 'send_email', args: { to, subject, text } }
    return {
      actions: [action],
      report: [said(outputOf(action), `Mail to ${to}: sent.`, `Mail to ${to}: not sent.`)],
    }
  }
}

function write(key: string, value: string): Step {
  return (outputOf) => {
    const action = { tool: 'write_record', args: { key, value } }
    return { actions: [action], report: [said(outputOf(action), `${key}: written.`, `${key}: not written.`)] }
  }
}

/** In plain words, and never more certain than the tool was. */
function said(output: string | undefined, done: string, notDone: string): string {
  const answer = jsonOf(output)
  if (answer !== undefined && answer['error'] === undefined) return done
  if (answer?.['executed'] === 'unknown')
    return `${done.split(':')[0]}: nobody knows whether it was done (${String(answer['code'])}). A person must look.`
  return `${notDone} ${whyNot(output)}`
}

function whyNot(output: string | undefined): string {
  const { code, message } = jsonOf(output) ?? {}
  return typeof code === 'string' && typeof message === 'string' ? `${code}: ${message}` : (output ?? '')
}

function jsonOf(text: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
