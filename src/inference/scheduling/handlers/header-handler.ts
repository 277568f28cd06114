import { type HeaderName, headerName } from '../../../extproc/header-view.ts'
import { type PickRequest, type PickResult, PickStatus } from '../../pick.ts'
import { NO_NEEDS, type HandlerParts, type ProfileHandler, type ProfileRunner } from '../profile-handler.ts'

interface HeaderHandlerOptions {
  readonly header: string
  readonly defaultProfile: string
}

/** Runs the one profile that a header of the request names (epp.md §3.1). A single profile runs whatever the header says. */
export class HeaderHandler implements ProfileHandler {
  readonly type = 'header-profile-handler'
  readonly needs = NO_NEEDS
  readonly #header: HeaderName
  readonly #parts: HandlerParts
  readonly #default: number

  constructor({ header, defaultProfile }: HeaderHandlerOptions, parts: HandlerParts) {
    this.#header = headerName(header)
    this.#parts = parts
    this.#default = parts.profile(defaultProfile)
  }

  pick(runner: ProfileRunner, { headers }: PickRequest, out: PickResult): PickStatus {
    const profile = this.#parts.profiles === 1 ? 0 : this.#named(headers?.common(this.#header)?.trim() ?? '')
    return profile < 0 ? PickStatus.NO_PROFILE : runner.run(profile, -1, out)
  }

  #named(name: string): number {
    return name === '' ? this.#default : this.#parts.profile(name)
  }
}
