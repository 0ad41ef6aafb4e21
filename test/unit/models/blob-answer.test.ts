import { describe, expect, test } from 'vitest'
import { answerBlob, readBlobRequest } from '../../../src/models/blob-answer.ts'

const HASH = 'ab'.repeat(32)
const PATH = `/blobs/sha256/${HASH}`
const ask = (headers: { readonly range?: string; readonly ifRange?: string } = {}, method = 'GET', size = 1000) =>
  answerBlob(HASH, size, { method, url: PATH, ...headers })

describe('readBlobRequest', () => {
  test('finds the hash of a content', () => {
    for (const method of ['GET', 'HEAD']) expect(readBlobRequest({ method, url: PATH })).toBe(HASH)
  })

  test.each([
    ...['/', '/blobs', '/blobs/sha256', '/blobs/sha256/', '/index.json', '/.store/blobs/sha256/x'],
    ...[`${PATH}/`, `${PATH}0`, PATH.slice(0, -1), `/x${PATH}`, `http://peer${PATH}`, `${PATH}?x=1`],
    ...[`/blobs/sha256/../sha256/${HASH}`, `/blobs/sha256/..%2f${HASH}`, `//blobs/sha256/${HASH}`, `${PATH}\n`],
    ...[`/blobs/sha256/${HASH.toUpperCase()}`, '/blobs/sha256/../../lock', '*', ''],
  ])('nothing is at %j', (url) => {
    expect(readBlobRequest({ method: 'GET', url })).toMatchObject({ status: 404, body: null })
  })

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND', 'get'])('%s is not understood', (method) => {
    expect(readBlobRequest({ method, url: PATH })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
  })
})

describe('answerBlob', () => {
  test('gives the whole, for ever', () => {
    expect(ask()).toEqual({
      status: 200,
      headers: {
        etag: `"${HASH}"`,
        'accept-ranges': 'bytes',
        'cache-control': 'public, max-age=31536000, immutable',
        'content-type': 'application/octet-stream',
        'x-content-type-options': 'nosniff',
        'content-length': '1000',
      },
      body: { from: 0, to: 1000 },
    })
  })

  test('gives one range', () => {
    expect(ask({ range: 'bytes=100-299' })).toMatchObject({
      status: 206,
      headers: { 'content-range': 'bytes 100-299/1000', 'content-length': '200' },
      body: { from: 100, to: 300 },
    })
    expect(ask({ range: 'bytes=0-1,5-6' })).toMatchObject({ status: 200, body: { from: 0, to: 1000 } })
  })

  test('says how many there are when there are no such bytes', () => {
    expect(ask({ range: 'bytes=1000-' })).toMatchObject({
      status: 416,
      headers: { 'content-range': 'bytes */1000', 'content-length': '0' },
      body: null,
    })
  })

  test('gives a range only of what the client has begun with', () => {
    expect(ask({ range: 'bytes=5-', ifRange: `"${HASH}"` }).status).toBe(206)
    for (const ifRange of [`W/"${HASH}"`, HASH, '"other"', 'Wed, 21 Oct 2015 07:28:00 GMT', '']) {
      expect(ask({ range: 'bytes=5-', ifRange }), ifRange).toMatchObject({ status: 200, body: { from: 0, to: 1000 } })
      expect(ask({ range: 'bytes=1000-', ifRange }).status, ifRange).toBe(200)
    }
  })

  test('tells a HEAD the size of the whole', () => {
    const answer = ask({ range: 'bytes=5-6' }, 'HEAD')
    expect(answer).toMatchObject({ status: 200, headers: { 'content-length': '1000' }, body: null })
    expect(answer.headers).not.toHaveProperty('content-range')
  })
})
