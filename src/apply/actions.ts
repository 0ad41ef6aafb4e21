import type { JobResult } from '../host/ports.ts'

/** One change of the host. The list is closed: whatever the controller does to a host is one of these. */
export type Action =
  | { readonly kind: 'make-directory'; readonly path: string; readonly owner: string; readonly mode: number }
  | {
      readonly kind: 'write-file'
      readonly path: string
      readonly text: string
      readonly mode: number
      readonly durable?: true
    }
  | { readonly kind: 'remove-file'; readonly path: string }
  | { readonly kind: 'point'; readonly path: string; readonly target: string }
  | { readonly kind: 'reload' }
  | { readonly kind: 'reset-failed'; readonly unit: string }
  | { readonly kind: 'stop'; readonly unit: string }
  | { readonly kind: 'restart'; readonly unit: string }
  | { readonly kind: 'start'; readonly unit: string }

/** An action of one kind. */
export type ActionOf<K extends Action['kind']> = Extract<Action, { readonly kind: K }>

/** How each kind of action is carried out; jobs give their result, everything else nothing. */
export type Executors = { readonly [K in Action['kind']]: (action: ActionOf<K>) => Promise<JobResult | undefined> }

/** Carries out one action. */
export async function execute(executors: Executors, action: Action): Promise<JobResult | undefined> {
  const run = executors[action.kind] as (each: Action) => Promise<JobResult | undefined>
  return run(action)
}
