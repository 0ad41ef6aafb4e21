import type { HttpReply, HttpRequest } from '../host/ports.ts'
import { type Measures, NO_MEASURES } from './measures.ts'
import { collectFamilies, renderFamilies } from './metrics.ts'
import { renderPage } from './page.ts'
import { PAGE_SCRIPT_SOURCE } from './page-assets.ts'
import type { Sighting } from './record.ts'
import { healthReport, type JsonReport, readyReport, statusReport } from './reports.ts'

/** Path of the stream of server-sent events. */
export const EVENTS_PATH = '/events'

/** Path of the metrics; the only one whose answer needs more than the record of the state. */
export const METRICS_PATH = '/metrics'

const PAGE_POLICY =
  `default-src 'none'; style-src 'unsafe-inline'; script-src '${PAGE_SCRIPT_SOURCE}'; img-src data:; ` +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

type Route = (sighting: Sighting, nowUs: number, measures: Measures) => HttpReply

const ROUTES: Readonly<Record<string, Route>> = {
  '/': (sighting, nowUs) => ({
    status: sighting.state === undefined ? 503 : 200,
    headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': PAGE_POLICY },
    body: renderPage(sighting, nowUs),
  }),
  '/health': (sighting, nowUs) => json(healthReport(sighting, nowUs)),
  '/ready': (sighting) => json(readyReport(sighting)),
  '/status': (sighting, nowUs) => json(statusReport(sighting, nowUs)),
  [METRICS_PATH]: (sighting, nowUs, measures) => ({
    status: 200,
    headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
    body: renderFamilies(collectFamilies(sighting, nowUs, measures)),
  }),
}

/** Answers every path but the event stream's; 404 and 405 are JSON with `error` and `message`. */
export function answerRequest(
  request: HttpRequest,
  sighting: Sighting,
  nowUs: number,
  measures: Measures = NO_MEASURES,
): HttpReply {
  const route = Object.hasOwn(ROUTES, request.path) ? ROUTES[request.path] : undefined
  if (route === undefined && request.path !== EVENTS_PATH) {
    const paths = [...Object.keys(ROUTES), EVENTS_PATH].join(' ')
    return problem(404, 'not_found', `there is no such path; there are ${paths}`)
  }
  if (route === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) {
    const refusal = problem(
      405,
      'method_not_allowed',
      'this server only reports; use systemctl to start, stop or restart',
    )
    return { ...refusal, headers: { ...refusal.headers, allow: 'GET, HEAD' } }
  }
  return route(sighting, nowUs, measures)
}

function problem(status: number, error: string, message: string): HttpReply {
  return { status, headers: { 'content-type': 'application/json' }, body: `${JSON.stringify({ error, message })}\n` }
}

function json(report: JsonReport): HttpReply {
  return {
    status: report.status,
    headers: { 'content-type': 'application/json' },
    body: `${JSON.stringify(report.body)}\n`,
  }
}
