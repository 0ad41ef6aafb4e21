import { describe, expect, it } from 'vitest'
import { encodeEntry } from '../../../src/host/journal.ts'

const text = (bytes: Uint8Array): string => new TextDecoder('latin1').decode(bytes)

describe('encodeEntry', () => {
  it('writes fields as lines, the priority as a number and common fields first', () => {
    const entry = { message: 'm', priority: 'warning', messageId: 'ab', fields: { COMFY_STEP: '9' } } as const
    expect(text(encodeEntry(entry, { SYSLOG_IDENTIFIER: 'x' }))).toBe(
      'SYSLOG_IDENTIFIER=x\nMESSAGE=m\nPRIORITY=4\nMESSAGE_ID=ab\nCOMFY_STEP=9\n',
    )
  })
  it('writes a value with a newline with its length, so that it cannot forge a field', () => {
    expect(text(encodeEntry({ message: 'a\nPRIORITY=0', priority: 'info' }))).toBe(
      'MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=6\n',
    )
  })
})
