import { describe, expect, it } from '@jest/globals'
import { createHeldMemory, HeldBudget } from '../extproc/held-budget.ts'
import { BodyCopy } from './body-copy.ts'

const budgetOf = (bytes: number) => new HeldBudget(bytes, createHeldMemory(1), 0)
const add = (copy: BodyCopy, text: string) => {
  const bytes = Buffer.from(`<${text}>`)
  copy.add(bytes, 1, bytes.length - 1)
  // What is lent may be overwritten at once.
  bytes.fill(0)
}

describe('BodyCopy', () => {
  it('keeps what passes, counted, until it is released', () => {
    const budget = budgetOf(100)
    const copy = new BodyCopy(10)
    expect(copy.whole()).toBeUndefined()
    copy.begin(budget)
    expect(copy.whole()).toBeUndefined()
    add(copy, 'abc')
    add(copy, '')
    add(copy, 'defghij')
    expect(copy.whole()?.toString()).toBe('abcdefghij')
    expect(budget.heldByAll).toBe(10)
    copy.release()
    copy.release()
    expect(copy.whole()).toBeUndefined()
    expect(budget.heldByAll).toBe(0)
  })

  it('keeps nothing of a body that is too large', () => {
    const budget = budgetOf(100)
    const copy = new BodyCopy(5)
    copy.begin(budget)
    add(copy, 'abc')
    add(copy, 'def')
    add(copy, 'g')
    expect(copy.whole()).toBeUndefined()
    expect(budget.heldByAll).toBe(0)
  })

  it('keeps nothing where too much is held already', () => {
    const budget = budgetOf(5)
    expect(budget.take(3)).toBe(true)
    const copy = new BodyCopy(10)
    copy.begin(budget)
    add(copy, 'ab')
    add(copy, 'c')
    expect(copy.whole()).toBeUndefined()
    expect(budget.heldByAll).toBe(3)
  })

  it('begins anew', () => {
    const budget = budgetOf(100)
    const copy = new BodyCopy(10)
    copy.begin(budget)
    add(copy, 'first')
    copy.begin(budget)
    add(copy, '2nd')
    expect(copy.whole()?.toString()).toBe('2nd')
    expect(budget.heldByAll).toBe(3)
  })
})
