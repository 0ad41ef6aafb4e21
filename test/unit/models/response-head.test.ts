import { describe, expect, it } from 'vitest'
import { parseResponseHead } from '../../../src/models/response-head.ts'

const head = (...lines: readonly string[]) => parseResponseHead(lines.join('\r\n'))

describe('parseResponseHead', () => {
  it('reads status, headers by lowercase name, and the length', () => {
    const answer = head('HTTP/1.1 206 Partial Content', 'Content-Length: 12', 'ETag:  "x" ', 'Via: a', 'via: b')
    expect(answer).toMatchObject({ status: 206, reason: 'Partial Content', length: 12, isKept: true })
    expect(answer.headers.get('etag')).toBe('"x"')
    expect(answer.headers.get('via')).toBe('a, b')
  })

  it('knows when the connection ends with the body', () => {
    expect(head('HTTP/1.1 200 OK', 'Connection: close').isKept).toBe(false)
    expect(head('HTTP/1.0 200 OK').isKept).toBe(false)
    expect(head('HTTP/1.1 200').isKept).toBe(true)
  })

  it('has no length where only the end tells it', () => {
    expect(head('HTTP/1.1 200 OK').length).toBeNull()
    expect(head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 3').length).toBeNull()
    expect(head('HTTP/1.1 204 No Content').length).toBe(0)
  })

  it.each([
    ['HTTP/2 200'],
    ['ICY 200 OK'],
    ['HTTP/1.1 200 OK', 'no colon'],
    ['HTTP/1.1 200 OK', 'Content-Length : 3'],
    ['HTTP/1.1 200 OK', ' folded: 3'],
    ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Content-Length: 4'],
    ['HTTP/1.1 200 OK', 'Content-Length: -3'],
  ])('refuses %j', (...lines) => {
    expect(() => head(...lines)).toThrow(RangeError)
  })
})
