import { flat } from './format.ts'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}
/** Not allowed in XML 1.0 (section 2.2), beside the control characters; and signs that turn the direction of writing. */
const UNFIT = /[\ufffe\uffff\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Any text as it may stand in an XML document or attribute: on one line, without markup of its own. */
export function escapeXml(text: string): string {
  return flat(text.toWellFormed().replace(UNFIT, '')).replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign)
}

/** A text made to fit `width` pixels in a common sans-serif font of `size` pixels, with … where it was cut; not yet escaped. */
export function fitText(text: string, width: number, size: number): string {
  const signs = [...flat(text.slice(0, 2_000))]
  let used = 0
  let fitting = 0
  const room = width - size
  for (const [index, sign] of signs.entries()) {
    used += widthOf(sign) * size
    if (used <= room) fitting = index + 1
    if (used > width) return `${signs.slice(0, fitting).join('')}…`
  }
  return signs.join('')
}

// Wide enough for the widest of the usual fonts, in parts of the font's size.
function widthOf(sign: string): number {
  if (sign > '\u10ff') return 1.05
  if (/[ .,:;'|!ijlI()[\]/-]/.test(sign)) return 0.4
  if (/[mwMW@%<>+=~#^&]/.test(sign)) return 1
  return /[a-z_]/.test(sign) ? 0.63 : 0.74
}
