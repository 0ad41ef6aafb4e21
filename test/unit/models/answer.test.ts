import { describe, expect, it } from 'vitest'
import { isPage, judgeStatus, parseContentRange, readAnswer, readValidators } from '../../../src/models/answer.ts'
import { parseResponseHead } from '../../../src/models/response-head.ts'

const answer = (...lines: readonly string[]) => readAnswer(parseResponseHead(lines.join('\r\n')), 1_000_000)

describe('readAnswer', () => {
  it.each([
    [['HTTP/1.1 200 OK', 'Content-Length: 7'], { kind: 'whole', total: 7 }],
    [['HTTP/1.1 200 OK'], { kind: 'whole', total: null }],
    [
      ['HTTP/1.1 206 Part', 'Content-Range: bytes 2-5/9', 'Content-Length: 4'],
      { kind: 'part', from: 2, to: 6, total: 9 },
    ],
    [['HTTP/1.1 206 Part', 'Content-Range: bytes 2-5/*'], { kind: 'odd-range' }],
    [['HTTP/1.1 206 Part', 'Content-Range: bytes 2-5/9', 'Content-Length: 5'], { kind: 'odd-range' }],
    [['HTTP/1.1 206 Part', 'Content-Range: bytes 2-9/9'], { kind: 'odd-range' }],
    [['HTTP/1.1 206 Part', 'Content-Type: multipart/byteranges'], { kind: 'odd-range' }],
    [['HTTP/1.1 416 No'], { kind: 'no-range', total: null }],
    [['HTTP/1.1 416 No', 'Content-Range: bytes */0'], { kind: 'no-range', total: 0 }],
    [['HTTP/1.1 307 There', 'Location: /x'], { kind: 'redirect', location: '/x' }],
    [['HTTP/1.1 401 No'], { kind: 'auth' }],
    [['HTTP/1.1 403 No'], { kind: 'auth' }],
    [['HTTP/1.1 404 No'], { kind: 'refused' }],
    [['HTTP/1.1 503 Later', 'Retry-After: 3'], { kind: 'retry', waitMs: 3000 }],
    [['HTTP/1.1 429 Later'], { kind: 'retry', waitMs: 0 }],
  ] as const)('reads %j', (lines, expected) => {
    expect(answer(...lines)).toEqual(expected)
  })
})

describe('readValidators', () => {
  const read = (...lines: readonly string[]) =>
    readValidators(parseResponseHead(['HTTP/1.1 200', ...lines].join('\r\n')))

  it('takes a strong ETag only, and the date', () => {
    expect(read('ETag: "a"', 'Last-Modified: Tue')).toEqual({ etag: '"a"', lastModified: 'Tue' })
    expect(read('ETag: W/"a"')).toEqual({ etag: null, lastModified: null })
  })
})

describe('isPage', () => {
  const page = (text: string): boolean => isPage(new TextEncoder().encode(text))

  it.each(['<!DOCTYPE html><title>', '\n  <html lang="en">', '\ufeff<!doctype html>', '<head>'])('knows %j', (text) => {
    expect(page(text)).toBe(true)
  })

  it.each(['', '{"a":1}', '<', '<svg>', 'PK\u0003\u0004', 'version https://git-lfs'])('takes %j for a file', (text) => {
    expect(page(text)).toBe(false)
  })
})

describe('parseContentRange', () => {
  it('reads first byte and total', () => {
    expect(parseContentRange('bytes 40-99/100')).toEqual({ from: 40, to: 100, total: 100 })
    expect(parseContentRange('bytes 40-99/*')).toEqual({ from: 40, to: 100, total: null })
    expect(parseContentRange('bytes */100')).toBeUndefined()
    expect(parseContentRange(undefined)).toBeUndefined()
  })
})

describe('judgeStatus', () => {
  it.each([
    [200, 'whole'],
    [206, 'part'],
    [302, 'redirect'],
    [401, 'auth'],
    [403, 'auth'],
    [404, 'refused'],
    [416, 'range'],
    [429, 'retry'],
    [503, 'retry'],
  ])('%i is %s', (status, meaning) => {
    expect(judgeStatus(status)).toBe(meaning)
  })
})
