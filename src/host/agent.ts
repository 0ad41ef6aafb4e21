import http from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { fault } from './fault.ts'

/** An agent that goes through the proxies of the operator and gives a connection `connectTimeoutMs` to come up. */
export function openAgent(
  secure: boolean,
  proxies: Readonly<Record<string, string>>,
  connectTimeoutMs: number,
  options: http.AgentOptions = {},
): http.Agent {
  const settings = { ...options, proxyEnv: { ...proxies } }
  const agent = secure ? new https.Agent(settings) : new http.Agent(settings)
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (connection, done) => {
    const socket = create(connection, done)
    if (socket) limitConnect(socket, secure ? 'secureConnect' : 'connect', connectTimeoutMs)
    return socket
  }
  return agent
}

function limitConnect(socket: Duplex, ready: string, ms: number): void {
  const timer = setTimeout(() => socket.destroy(fault('ETIMEDOUT', `no connection within ${ms / 1000} s`)), ms)
  const clear = (): void => clearTimeout(timer)
  socket.once(ready, clear)
  socket.once('close', clear)
}
