/** Amounts are in US cents. */
export interface Invoice {
  readonly invoiceId: string
  readonly customer: string
  readonly amountCents: number
  readonly status: 'open' | 'paid'
}

const CUSTOMERS: readonly (readonly [customer: string, amountCents: number])[] = [
  ['Aldgate Printing', 12_500],
  ['Birchwood Cafe', 4_820],
  ['Calder Freight', 98_000],
  ['Dovetail Joinery', 31_250],
  ['Elm Street Dental', 7_600],
  ['Fenwick Optics', 15_999],
  ['Granary Bakery', 2_340],
  ['Harbour Yachts', 210_000],
  ['Ivy House Hotel', 54_075],
  ['Juniper Gardens', 18_300],
  ['Kestrel Couriers', 9_990],
  ['Larkhill School', 66_120],
  ['Millbrook Farm', 27_450],
  ['Northgate Legal', 120_000],
  ['Orchard Clinic', 43_215],
  ['Pinnacle Roofing', 88_800],
  ['Quayside Studio', 5_500],
  ['Redwood Energy', 150_075],
  ['Saddler & Sons', 11_010],
  ['Thornbury Press', 36_640],
]

/** INV-1001 to INV-1020, all open, as the ledger starts with them. */
export const INVOICES: readonly Invoice[] = CUSTOMERS.map(([customer, amountCents], index) => ({
  invoiceId: `INV-${1001 + index}`,
  customer,
  amountCents,
  status: 'open',
}))
