/** An element of a document, with the text that stands directly in it. */
export interface XmlElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: XmlElement[]
  text: string
}

// XML 1.0 without declarations, comments and sections, of which a waterfall has none.
const TOKEN =
  /<\/(?<end>[a-zA-Z][\w-]*)>|<(?<begin>[a-zA-Z][\w-]*)(?<attributes>(?:\s+[\w:-]+="[^"<]*")*)\s*(?<empty>\/?)>|(?<text>[^<]+)/y
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** Reads a document strictly: throws for anything that is not well-formed, as a browser refuses it. */
export function readXml(document: string): XmlElement {
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(document) || !document.isWellFormed())
    throw new Error('a character that XML does not allow')
  const top: XmlElement = { name: '', attributes: {}, children: [], text: '' }
  const open = [top]
  let at = 0
  while (at < document.length) {
    TOKEN.lastIndex = at
    const groups = TOKEN.exec(document)?.groups
    const current = open.at(-1)
    if (groups === undefined || current === undefined) throw new Error(`not XML: ${document.slice(at, at + 80)}`)
    at = TOKEN.lastIndex
    const { begin, end, text } = groups
    if (begin !== undefined) {
      const element = { name: begin, attributes: readAttributes(groups['attributes'] ?? ''), children: [], text: '' }
      current.children.push(element)
      if (groups['empty'] === '') open.push(element)
    } else if (end !== undefined) {
      if (open.pop()?.name !== end) throw new Error(`</${end}> ends ${current.name}`)
    } else current.text += decode(text ?? '')
  }
  const [element, ...others] = top.children
  if (open.length !== 1 || element === undefined || others.length > 0 || top.text.trim() !== '')
    throw new Error('a document is one element')
  return element
}

/** The element and all within it, in the order of the document. */
export function allOf(element: XmlElement): readonly XmlElement[] {
  return [element, ...element.children.flatMap(allOf)]
}

function readAttributes(text: string): Readonly<Record<string, string>> {
  const pairs = [...text.matchAll(/([\w:-]+)="([^"]*)"/g)].map(
    ([, name = '', value = '']) => [name, decode(value)] as const,
  )
  if (new Set(pairs.map(([name]) => name)).size !== pairs.length) throw new Error(`an attribute twice: ${text}`)
  return Object.fromEntries(pairs)
}

function decode(text: string): string {
  return text.replace(/&(?:([a-z]+);)?/g, (_, name: string | undefined) => {
    const sign = name === undefined ? undefined : ENTITIES[name]
    if (sign === undefined) throw new Error(`an & that begins nothing: ${text}`)
    return sign
  })
}
