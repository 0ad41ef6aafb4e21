/** An element of an XML document. */
export interface XmlElement {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly XmlElement[]
  /** Its own text, trimmed, without that of its children. */
  readonly text: string
}

const TOKEN = /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<![^>]*>|<(\/?)([A-Za-z_][\w.:-]*)([^<>]*?)(\/?)>|[^<]+/y
const ATTRIBUTE = /([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

interface Open {
  readonly name: string
  readonly attributes: Record<string, string>
  readonly children: XmlElement[]
  text: string
}

/** The root element of the XML that nvidia-smi writes (no CDATA, no entities of its own); undefined when it is not whole. */
export function parseXml(source: string): XmlElement | undefined {
  const root: Open = { name: '', attributes: {}, children: [], text: '' }
  const stack: Open[] = [root]
  let at = 0
  while (at < source.length) {
    TOKEN.lastIndex = at
    const token = TOKEN.exec(source)
    const current = stack.at(-1)
    if (token === null || current === undefined) return undefined
    at = TOKEN.lastIndex
    const [whole, closing, name, attributes, selfClosing] = token
    if (name === undefined) {
      if (!whole.startsWith('<')) current.text += whole
    } else if (closing === '/') {
      if (stack.length === 1 || current.name !== name) return undefined
      stack.pop()
      stack.at(-1)?.children.push(finished(current))
    } else {
      const opened: Open = { name, attributes: attributesOf(attributes ?? ''), children: [], text: '' }
      if (selfClosing === '/') current.children.push(finished(opened))
      else stack.push(opened)
    }
  }
  return stack.length === 1 && root.children.length === 1 ? root.children[0] : undefined
}

/** The first child of a name, along a path of names. */
export function childOf(element: XmlElement | undefined, ...path: readonly string[]): XmlElement | undefined {
  let found = element
  for (const name of path) found = found?.children.find((child) => child.name === name)
  return found
}

/** Every child of a name. */
export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  return element?.children.filter((child) => child.name === name) ?? []
}

function finished(open: Open): XmlElement {
  return { ...open, text: decoded(open.text.trim()) }
}

function attributesOf(text: string): Record<string, string> {
  const attributes: Record<string, string> = {}
  for (const [, name = '', double, single] of text.matchAll(ATTRIBUTE))
    attributes[name] = decoded(double ?? single ?? '')
  return attributes
}

function decoded(text: string): string {
  return text.replace(/&(amp|lt|gt|quot|apos);/g, (whole, name: string) => ENTITIES[name] ?? whole)
}
