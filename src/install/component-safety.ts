import { MachineError } from '../errors.ts'

const CONTROL = /[\u0000-\u001f\u007f]/
const NAME_BYTES = 255

/** Why a text cannot be one component of a path; undefined when it can. */
function nameProblem(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (CONTROL.test(name)) return 'has a control character'
  if (name.includes('/') || name.includes('\\')) return 'has a slash'
  if (name.startsWith('.') || name.startsWith('-')) return `starts with ${name.slice(0, 1)}`
  if (new TextEncoder().encode(name).length > NAME_BYTES) return `is longer than ${NAME_BYTES} bytes`
  return undefined
}

/** The name, when it can be a directory. Throws CM1607. */
export function safeName(name: string, what: string): string {
  const problem = nameProblem(name)
  if (problem === undefined) return name
  throw new MachineError('CM1607', `${what}: the name ${JSON.stringify(name)} ${problem}`)
}

/** Path below the models folder out of a saveTo like `models/vae/ae.safetensors`. Throws CM1607 when it leads elsewhere. */
export function safeModelPath(saveTo: string, model: string): string {
  const refuse = (why: string): MachineError =>
    new MachineError('CM1607', `model ${model}: saveTo ${JSON.stringify(saveTo)} ${why}`)
  const [root, ...parts] = saveTo.split('/')
  if (root !== 'models' || parts.length === 0) throw refuse('is not below models/')
  for (const part of parts) {
    const problem = nameProblem(part)
    if (problem !== undefined) throw refuse(`has a part that ${problem}`)
  }
  if (/\.part(\.json)?$/.test(saveTo)) throw refuse('ends like an unfinished download')
  return parts.join('/')
}

/** A git URL without the `git clone ` that some answers carry. Throws CM1607 for one that is not allowed. */
export function safeGitUrl(value: string, node: string, allowInsecure: boolean): string {
  const url = value.replace(/^git clone\s+/, '').trim()
  const refuse = (why: string): MachineError =>
    new MachineError('CM1607', `custom node ${node}: the URL ${JSON.stringify(withoutUser(url))} ${why}`)
  if (url.startsWith('-')) throw refuse('starts with -')
  if (CONTROL.test(url) || /\s/.test(url)) throw refuse('has white space')
  if (url.includes('::')) throw refuse('names a remote helper')
  if (/^(https|ssh):\/\/[^/]/.test(url)) {
    if (/^ssh:\/\/([^@/]*@)?-/.test(url)) throw refuse('has a host that starts with -')
    return url
  }
  if (/^git@[A-Za-z0-9][A-Za-z0-9.-]*:[^-]/.test(url)) return url
  if (/^(http:\/\/[^/]|file:\/\/\/)/.test(url)) {
    if (allowInsecure) return url
    throw refuse('is neither https nor ssh')
  }
  throw refuse('is not a git URL')
}

/** A branch or commit as git's arguments take it; null for none. Throws CM1607. */
export function safeRevision(value: string | null | undefined, node: string): string | null {
  const text = value?.trim() ?? ''
  if (text === '') return null
  if (/^[A-Za-z0-9_][A-Za-z0-9._/+@#-]*$/.test(text) && !text.includes('..') && !text.includes('@{')) return text
  throw new MachineError('CM1607', `custom node ${node}: ${JSON.stringify(text)} cannot be a branch or commit`)
}

/** A model's URL; null for none. Throws CM1607 for one that is not allowed. */
export function safeModelUrl(value: string | null | undefined, model: string, allowInsecure: boolean): string | null {
  const text = value?.trim() ?? ''
  if (text === '') return null
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'https:' || (allowInsecure && url?.protocol === 'http:')) return url.href
  const why = url?.protocol === 'http:' ? 'is not https' : 'is not a web address'
  throw new MachineError('CM1607', `model ${model}: the URL ${JSON.stringify(withoutUser(text))} ${why}`)
}

/** A variable's name; null for none. Throws CM1607. */
export function safeVariable(value: string | null | undefined, what: string): string | null {
  if (value === null || value === undefined || value === '') return null
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(value)) return value
  throw new MachineError('CM1607', `${what}: ${JSON.stringify(value)} is not the name of a variable`)
}

/** A URL without the user and password in it. */
export function withoutUser(url: string): string {
  return url.replace(/:\/\/[^/]*@/, '://')
}
