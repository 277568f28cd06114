/** Users' own plug-ins whose errors are not the request's: it goes on as if the plug-in were not there. */
import type { Admitter } from '../admitter.ts'
import type { Producer } from '../producer.ts'
import type { HookedRequest, RequestHook } from '../request-hook.ts'
import { userFault } from './user-faults.ts'

type OwnProducer = Omit<Producer, 'type'>

/** Its memory stays its own matter (`attach`): what fails there is a fault of the configuration. */
export function guardedProducer(type: string, own: OwnProducer): Producer {
  return {
    type,
    sharedWords: capacity => own.sharedWords?.(capacity) ?? 0,
    attach: memory => own.attach?.(memory),
    ...(own.grow === undefined ? {} : { grow: own.grow.bind(own) }),
    produce(candidates, table) {
      try {
        own.produce(candidates, table)
      } catch (error) {
        userFault(type, 'produce', error)
      }
    },
    adopt(table) {
      try {
        own.adopt?.(table)
      } catch (error) {
        userFault(type, 'adopt', error)
      }
    },
    chosen(candidates, table, choice) {
      try {
        own.chosen?.(candidates, table, choice)
      } catch (error) {
        userFault(type, 'chosen', error)
      }
    },
  }
}

export function guardedAdmitter(type: string, own: Pick<Admitter, 'admits'>): Admitter {
  return {
    type,
    asksAll: true,
    admits(candidates, priority) {
      try {
        return own.admits(candidates, priority)
      } catch (error) {
        userFault(type, 'admits', error)
        return true
      }
    },
  }
}

export function guardedHook(type: string, own: RequestHook): Required<RequestHook> {
  const guarded = (method: 'picked' | 'responded') => (request: HookedRequest) => {
    try {
      own[method]?.(request)
    } catch (error) {
      userFault(type, method, error)
    }
  }
  return {
    picked: guarded('picked'),
    responded: guarded('responded'),
    ended(request, answered) {
      try {
        own.ended?.(request, answered)
      } catch (error) {
        userFault(type, 'ended', error)
      }
    },
  }
}
